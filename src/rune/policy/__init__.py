"""What a security policy means: read it, compile it, evaluate it. The control plane and Shield share this."""
