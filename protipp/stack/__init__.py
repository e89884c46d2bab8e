"""The local stack behind `manage.py up`: one small module a service.

Nothing here imports Django's settings: the stack is what makes them true.
"""
