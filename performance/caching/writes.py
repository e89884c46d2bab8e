"""Invalidating by what Django writes: saves, deletes, many-to-many changes, and bulk updates.

Django sends signals for the first three. For a QuerySet's own writes it sends none, so the managers
of a watched model, and of no other, are given a QuerySet that tells of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from django.apps import apps
from django.db import models, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save

MOST_ROWS = 1000
"""A write of more rows names no single ones: reading them would cost more than what is saved."""


class Cache(Protocol):
    def invalidate(
        self, *tags: str, hard: bool = True, strict: bool = False, using: str = "default"
    ) -> bool: ...

    def purge(self, *families: str, hard: bool = True) -> bool: ...


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What one call of `invalidates` asked for."""

    model: type[models.Model]
    tags: Callable[[Any], Iterable[str]]
    many: tuple[str, ...] | None
    strict: bool
    cache: Cache

    def rows(self, rows: Iterable[models.Model], using: str) -> None:
        """Invalidate what `rows` say, as they are now."""
        named = tuple(dict.fromkeys(tag for row in rows for tag in self.tags(row)))
        if named:
            self.cache.invalidate(*named, strict=self.strict, using=using)

    def all(self, using: str) -> None:
        """Invalidate what a write of many rows stands for."""
        if self.many is None:
            self.cache.purge()
        else:
            self.cache.invalidate(*self.many, strict=self.strict, using=using)


_watches: dict[type[models.Model], list[Watch]] = {}


def watch(
    model: type[models.Model],
    tags: Callable[[Any], Iterable[str]],
    *,
    many: tuple[str, ...] | None,
    strict: bool,
    cache: Cache,
) -> None:
    """Tell `cache` of every write to `model` from now on. Twice the same is one."""
    known = _watches.setdefault(model, [])
    if any(there.tags is tags for there in known):
        return
    known.append(Watch(model, tags, many, strict, cache))
    if len(known) > 1:
        return  # its signals are connected
    pre_save.connect(_before_save, sender=model)
    post_save.connect(_after_save, sender=model)
    pre_delete.connect(_deleted, sender=model)
    post_delete.connect(_deleted, sender=model)
    for through in _throughs(model):
        m2m_changed.connect(_related, sender=through)
    _tell_of_bulk_writes(model)


def unwatch(model: type[models.Model]) -> None:
    """Forget a model, for tests; its managers go on telling nobody."""
    _watches.pop(model, None)
    pre_save.disconnect(_before_save, sender=model)
    post_save.disconnect(_after_save, sender=model)
    pre_delete.disconnect(_deleted, sender=model)
    post_delete.disconnect(_deleted, sender=model)
    for through in _throughs(model):
        m2m_changed.disconnect(_related, sender=through)


def _of(model: type[models.Model]) -> list[Watch]:
    return [one for base in model.__mro__ for one in _watches.get(base, ())]


# --- signals ------------------------------------------------------------------------------------


def _before_save(sender: Any, instance: Any, raw: bool, using: str, **kwargs: Any) -> None:
    """Name what the row was: a row that moves from one tag to another changes both."""
    if instance.pk is None or instance._state.adding:
        return
    old = list(sender._base_manager.using(using).filter(pk=instance.pk))
    if transaction.get_connection(using).in_atomic_block:
        _tell(sender, old, using)  # after COMMIT, so it may be said now
    else:
        instance._cached_before_save = old


def _after_save(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    old = instance.__dict__.pop("_cached_before_save", [])
    _tell(sender, [*old, instance], using)


def _deleted(sender: Any, instance: Any, using: str, **kwargs: Any) -> None:
    """Before it, while its relations can be read, and after it, once it is gone."""
    _tell(sender, [instance], using)


def _related(
    sender: Any,
    instance: Any,
    action: str,
    reverse: bool,
    model: Any,
    pk_set: set[Any] | None,
    using: str,
    **kwargs: Any,
) -> None:
    """A many-to-many field changed: both ends did. Django does it inside a transaction."""
    _tell(type(instance), [instance], using)
    if not _of(model):
        return
    if pk_set is not None:
        others = model._base_manager.using(using).filter(pk__in=pk_set)
    elif action == "pre_clear":
        others = _others(sender, instance, model, using)
    else:
        return
    _tell(model, list(others[: MOST_ROWS + 1]), using)


def _others(through: Any, instance: Any, model: Any, using: str) -> Any:
    """Return the rows at the other end of a relation that is about to be cleared."""
    ends = [field for field in through._meta.get_fields() if isinstance(field, models.ForeignKey)]
    here = [field for field in ends if isinstance(instance, field.related_model)]
    there = [field for field in ends if issubclass(model, field.related_model)]
    pks: set[Any] = set()
    for near in here:
        for far in there:
            if near is not far:
                rows = through._base_manager.using(using).filter(**{near.name: instance.pk})
                pks.update(rows.values_list(far.attname, flat=True)[: MOST_ROWS + 1])
    return model._base_manager.using(using).filter(pk__in=pks)


def _tell(model: type[models.Model], rows: Sequence[models.Model], using: str) -> None:
    for one in _of(model):
        if len(rows) > MOST_ROWS:
            one.all(using)
        else:
            one.rows(rows, using)


def _throughs(model: type[models.Model]) -> list[Any]:
    own = [field.remote_field.through for field in model._meta.many_to_many]
    theirs = [
        relation.through
        for relation in model._meta.related_objects
        if isinstance(relation, models.ManyToManyRel)
    ]
    return [*own, *theirs]


# --- bulk writes --------------------------------------------------------------------------------


def _tell_of_bulk_writes(model: type[models.Model]) -> None:
    managers = {id(manager): manager for manager in model._meta.managers}
    for manager in (*managers.values(), model._base_manager, model._default_manager):
        kind: Any = type(manager)
        if issubclass(kind._queryset_class, TellingQuerySet):
            continue
        told = type(kind._queryset_class.__name__, (TellingQuerySet, kind._queryset_class), {})
        # Of the class, because related managers (`sport.events`) are made from it.
        manager.__class__ = type(kind.__name__, (kind,), {"_queryset_class": told})
    for other in apps.get_models(include_auto_created=True):
        for attribute in vars(other).values():  # related managers that were made before
            if "related_manager_cls" in getattr(attribute, "__dict__", ()):
                del attribute.related_manager_cls


class TellingQuerySet(models.QuerySet[Any]):
    """A QuerySet whose bulk writes are told."""

    def update(self, **values: Any) -> int:
        if not _of(self.model):
            return super().update(**values)
        using = self._chosen()
        with transaction.atomic(using=using, savepoint=False):
            before = list(self.all().order_by()[: MOST_ROWS + 1])
            if len(before) > MOST_ROWS:
                _tell(self.model, before, using)
                return super().update(**values)
            pks = [row.pk for row in before]
            # Only those that were read: a row that came in between would change untold.
            changed = super().filter(pk__in=pks)
            count = models.QuerySet.update(changed, **values)
            after = self.model._base_manager.using(using).filter(pk__in=pks)
            _tell(self.model, before, using)
            _tell(self.model, list(after), using)
            return count

    update.alters_data = True  # type: ignore[attr-defined]

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        objs = list(objs)
        if not _of(self.model):
            return super().bulk_create(objs, *args, **kwargs)
        using = self._chosen()
        with transaction.atomic(using=using, savepoint=False):
            created = super().bulk_create(objs, *args, **kwargs)
            if kwargs.get("update_conflicts"):  # which rows those were, nobody says
                for one in _of(self.model):
                    one.all(using)
            else:
                _tell(self.model, created, using)
            return created

    # bulk_update is one update or several of the above.

    def _chosen(self) -> str:
        self._for_write = True
        return str(self.db)
