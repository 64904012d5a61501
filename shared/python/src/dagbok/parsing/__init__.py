"""From a DAG file to DAG specs. `python -P -m dagbok.parsing` is how the processor asks."""
