"""`Microsoft.MachineLearningServices`: workspaces and what lies below them."""
