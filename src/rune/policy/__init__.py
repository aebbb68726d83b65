"""What a security policy means: documents, evaluation, and the scanners that give them something to judge."""
