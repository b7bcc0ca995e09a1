"""How models are trained: one loop, one ``fit``, one kind of checkpoint, whatever the family."""
