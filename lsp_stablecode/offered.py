"""What was offered last, until it is known what became of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakValueDictionary

from lsp_stablecode.items import Item

_MOST_ITEMS = 256


@dataclass(slots=True, weakref_slot=True)
class _Fate:
    """What became of a suggestion, whatever items it was offered with."""

    is_shown: bool = False
    is_accepted: bool = False


class Offered:
    """The last items by their identifiers. Lives on the event loop.

    A suggestion that is typed into comes again, as an item with another identifier and
    the same origin: it is shown and accepted once.
    """

    def __init__(self) -> None:
        self._items: OrderedDict[str, tuple[Item, _Fate]] = OrderedDict()
        # What was computed ahead has an origin that was no item itself.
        self._fates: WeakValueDictionary[str, _Fate] = WeakValueDictionary()

    def remember(self, items: Iterable[Item]) -> bool:
        """Take in what an editor is about to be answered; tell whether any is new."""
        is_news = False
        for one in items:
            fate = self._fates.get(one.origin)
            if fate is None:
                fate = self._fates[one.origin] = _Fate()
                is_news = True
            self._items[one.identifier] = one, fate
        while len(self._items) > _MOST_ITEMS:
            self._items.popitem(last=False)
        return is_news

    def item(self, identifier: str) -> Item | None:
        """Return an item that was offered lately."""
        known = self._items.get(identifier)
        return None if known is None else known[0]

    def show(self, identifier: str) -> bool:
        """Tell whether it is news that an item is visible."""
        known = self._items.get(identifier)
        is_news = known is not None and not known[1].is_shown
        if known is not None:
            known[1].is_shown = True
        return is_news

    def accept(self, identifier: str) -> bool:
        """Tell whether an acceptance is the first of its suggestion."""
        known = self._items.get(identifier)
        is_news = known is not None and not known[1].is_accepted
        if known is not None:
            known[1].is_accepted = True
        return is_news
