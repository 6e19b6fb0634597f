"""How gunicorn runs an instance; read by the gunicorn of the deployment's own environment, so it imports no package."""

import socket

accesslog = "-"
# A socket in the user's home folder, which nobody here uses. Older versions skip settings that they do not know.
control_socket_disable = True


def when_ready(server):
    """Hand a connection to the worker with its request, not before.

    A worker waits on the connection it has. Under overload the router opens some that it does not use at once, and the
    requests behind them would wait too. Where the system cannot do this, the router's own idle timeout bounds the wait.
    """
    if hasattr(socket, "TCP_DEFER_ACCEPT"):
        for listener in server.LISTENERS:
            listener.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
