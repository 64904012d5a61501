"""The process side of a try: the zygote that forks it, and the runner that it then is."""
