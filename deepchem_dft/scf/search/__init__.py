"""Is a converged field the ground state? Signs of trouble, other starts, and the way down from them."""
