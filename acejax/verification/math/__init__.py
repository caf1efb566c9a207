"""Mathematics: whether two answers have the same value, decided exactly."""
