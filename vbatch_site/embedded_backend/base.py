"""Django's PostgreSQL backend, over the embedded server."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.backends.postgresql import base
from psycopg import OperationalError
from psycopg.conninfo import conninfo_to_dict

from vbatch_site.embedded_db import ensure_db


class DatabaseWrapper(base.DatabaseWrapper):
    """Connect to the embedded server; a server that is not running is started first."""

    _address: dict[str, Any] | None = None

    def get_connection_params(self) -> dict[str, Any]:
        params = super().get_connection_params()
        if type(self)._address is None:
            self._start()
        return {**params, **self._place(params)}

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        try:
            return super().get_new_connection(conn_params)
        except OperationalError:
            # Nobody supervises the embedded server but those who need it: start it again if it
            # died, then try once more; a second failure is a real one.
            self._start()
            return super().get_new_connection({**conn_params, **self._place(conn_params)})

    @classmethod
    def _start(cls) -> None:
        cls._address = conninfo_to_dict(ensure_db(settings.DATA_DIR))

    def _place(self, params: dict[str, Any]) -> dict[str, Any]:
        """Return where the server is; tests and maintenance bring their own database name."""
        address = dict(type(self)._address or {})
        return {**address, "dbname": params.get("dbname") or address["dbname"]}
