"""Local Azure: a stand-in for Azure's control and data plane on one machine, reached under Azure's own host names."""
