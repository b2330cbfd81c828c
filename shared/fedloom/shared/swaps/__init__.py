"""Counterfactual texts: words for one group of people exchanged for another's, by public lists."""
