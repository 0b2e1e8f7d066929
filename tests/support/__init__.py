"""What the tests of many modules share: small cases, oracles, stand-ins for services."""
