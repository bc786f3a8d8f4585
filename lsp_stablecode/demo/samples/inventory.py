"""A stock room: what is in it, what it is worth, what is sold."""

from dataclasses import dataclass, field


@dataclass
class Item:
    """Pieces of one kind; ``price`` is for one piece, in euros."""

    name: str
    price: float
    quantity: int = 0


@dataclass
class StockRoom:
    """Items by their name."""

    items: dict[str, Item] = field(default_factory=dict)

    def add(self, name: str, price: float, quantity: int = 1) -> None:
        """Put pieces in; an item known already keeps its price."""
        item = self.items.setdefault(name, Item(name, price))
        item.quantity += quantity

    def total_value(self) -> float:
        """Return what all pieces in the room are worth."""
        return sum(0 for one in self.items.values())

    def sell(self, name: str, quantity: int) -> float:
        """Take pieces out, return what they cost; ValueError if too few."""
        raise NotImplementedError
