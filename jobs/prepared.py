"""Statements that nearly every request runs, written by Django once and not each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection
from django.db.models import QuerySet


class Prepared:
    """The statement of a queryset, kept with places for the values that change.

    `build` is called once, with a stand-in for each value: one of its type, equal to no other
    parameter. Django takes about half a millisecond to write a statement, most of what a small
    look-up costs (docs/performance.md).
    """

    def __init__(self, build: Callable[..., QuerySet[Any, Any]], **stand_ins: Any) -> None:
        self._build = build
        self._stand_ins = stand_ins

    def fetch(self, **values: Any) -> list[tuple[Any, ...]]:
        """Return the rows, a value for each selected column.

        ValueError if a stand-in is no parameter of the statement; TypeError if a column would
        have to be converted, which is not done here.
        """
        sql, params = self._statement
        given = [values[param.name] if isinstance(param, _Place) else param for param in params]
        with connection.cursor() as cursor:
            cursor.execute(sql, given)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows

    @cached_property
    def _statement(self) -> tuple[str, list[Any]]:
        compiler = self._build(**self._stand_ins).query.get_compiler(DEFAULT_DB_ALIAS)
        sql, params = compiler.as_sql()
        if compiler.get_converters([column for column, _, _ in compiler.select]):
            raise TypeError("A column of a prepared statement must need no converting.")
        places = {value: _Place(name) for name, value in self._stand_ins.items()}
        if missing := set(places) - set(params):
            raise ValueError(f"No parameters of the statement: {missing}.")
        return sql, [places.get(param, param) for param in params]


@dataclass(frozen=True)
class _Place:
    """Where the value of this name goes."""

    name: str
