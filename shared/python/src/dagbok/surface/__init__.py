"""Small parts of Airflow that provider packages and DAG files import besides what authors name every day.

Each module answers for one of Airflow's, or for a few; `__all__` says with what. None is imported before a
file asks for it.
"""
