"""Signing with Ed25519 (RFC 8032), small and slow.

nats-py takes the signature of a server's nonce from a function. The package that it would use by itself comes as source
code only; these few lines need nothing but Python.
"""

import hashlib

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
IDENTITY = (0, 1)


def recover_x(y):
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    return P - x if x % 2 else x


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (recover_x(BASE_Y), BASE_Y)


def add(a, b):
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + a[1] * b[0]) * pow(1 + product, P - 2, P)
    y = (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P)
    return x % P, y % P


def multiply(point, factor):
    result = IDENTITY
    while factor:
        if factor % 2:
            result = add(result, point)
        point = add(point, point)
        factor //= 2
    return result


def encode(point):
    return (point[1] | (point[0] % 2) << 255).to_bytes(32, "little")


def digest(*parts):
    return int.from_bytes(hashlib.sha512(b"".join(parts)).digest(), "little")


def sign(seed, message):
    hashed = hashlib.sha512(seed).digest()
    secret = int.from_bytes(hashed[:32], "little") & (2**254 - 8) | 2**254
    public = encode(multiply(BASE, secret))
    nonce = digest(hashed[32:], message) % ORDER
    commitment = encode(multiply(BASE, nonce))
    challenge = digest(commitment, public, message) % ORDER
    return commitment + ((nonce + challenge * secret) % ORDER).to_bytes(32, "little")
