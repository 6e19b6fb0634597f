"""How clients get in: the proxy with its CA, tokens, the managed identity, and Azurite behind the storage accounts."""
