"""What privacy costs and how much noise buys it; no noise is drawn here."""
