"""At one's desk: a task by itself, a DAG tried from its own file, DAGs for people's own tests."""
