"""The network of the containers of one host: addresses, bridge, namespaces, published ports."""
