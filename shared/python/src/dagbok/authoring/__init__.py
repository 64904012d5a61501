"""What a DAG file is written with. Nothing here runs a task or talks to a supervisor."""
