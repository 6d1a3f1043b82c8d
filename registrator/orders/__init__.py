"""What an operator orders: each order is planned as a value first, then written in one transaction."""
