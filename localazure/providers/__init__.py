"""What Azure does with each resource type: one file per type or family. No file here knows a socket."""
