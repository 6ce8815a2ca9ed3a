"""How usage gets in: the engine, its runs, and the vendors."""
