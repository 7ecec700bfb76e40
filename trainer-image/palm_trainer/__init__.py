"""The trainer Job: one oracle call of PALM, training the policy of one weight vector."""
