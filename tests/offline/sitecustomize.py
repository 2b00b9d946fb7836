"""No network: connections to other machines fail at once, those within this one do not.

Python imports a module of this name by itself when it starts. `conftest.py` puts its folder on
PYTHONPATH, so that it holds in the kernels of the notebooks and in JupyterLab, too.
"""

import socket

connect = socket.socket.connect


def guarded(self, address):
    """socket.connect, for this machine only."""
    local = self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1", "localhost")
    if not local:
        raise OSError(f"a test wants to connect to {address}: tests need no network")
    return connect(self, address)


socket.socket.connect = guarded
