"""A small recommender in plain Python, used by recommendation_training.py."""
