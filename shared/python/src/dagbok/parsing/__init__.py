"""From a DAG file to DAG specs. `python -P -m dagbok.parsing --serve` is how the processor asks."""
