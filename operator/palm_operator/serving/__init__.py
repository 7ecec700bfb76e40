"""How a portfolio is published: servers, the switch to the next portfolio, routes. Pure."""
