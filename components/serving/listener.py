"""The socket of a server of ours, which takes connections before the server runs."""

import socket

from components.core.errors import InputError


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; of port 0 any free one.

    Raises:
        InputError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen()
    except OSError as error:
        found.close()
        raise InputError(
            f"{host}, port {port}: cannot listen there: {error.strerror}; choose another --port"
        ) from error
    return found
