"""The coordinator's side of a deployment: kits, processes, runs that go on by themselves."""
