"""At one's desk: one task rendered or run by itself, a DAG tried from its own file, DAGs for people's own tests."""
