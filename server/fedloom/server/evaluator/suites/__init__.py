"""Suites that come with FedLoom."""
