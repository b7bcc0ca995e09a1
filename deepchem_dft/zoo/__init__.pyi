from .cards import Card as Card
from .registry import card as card
from .registry import functional as functional
from .registry import load as load
from .registry import names as names
from .registry import save as save
