from .cards import Card as Card
from .shelf import card as card
from .shelf import functional as functional
from .shelf import load as load
from .shelf import names as names
from .shelf import save as save
