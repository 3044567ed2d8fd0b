"""`python -m components.serving`: the command `serve`, in an image that holds no other."""

from components.serving.command import serve

serve()
