"""The portfolio: the balances of all loans on one day."""
