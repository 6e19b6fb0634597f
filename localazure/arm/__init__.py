"""The ARM protocol: ids, routes, long operations, errors and the store. It knows no resource type."""
