// Empty, but its presence lets the compiler accept the functions without bodies in link.go.
