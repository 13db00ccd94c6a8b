"""Reads a stream with nats-py, a client that is none of Windlass's: python3 read_stream.py URL CREDS STREAM

Prints one JSON object a message: sequence, subject, headers, and the body's SHA-256.
"""

import asyncio
import base64
import hashlib
import json
import re
import sys

import ed25519
import nats
from nats.js.api import ConsumerConfig, DeliverPolicy


def read_creds(path):
    """The JWT and the seed of a credentials file."""
    blocks = re.findall(r"-----BEGIN [A-Z ]+-----\s+(\S+)\s+-+END [A-Z ]+-+", open(path).read())
    jwt, seed = blocks
    padded = seed + "=" * (-len(seed) % 8)
    # Two bytes say what it is, two are a checksum; between them is the seed of the key.
    return jwt.encode(), base64.b32decode(padded)[2:-2]


async def main(url, creds, stream):
    jwt, seed = read_creds(creds)
    client = await nats.connect(
        url,
        user_jwt_cb=lambda: bytearray(jwt),
        signature_cb=lambda nonce: base64.b64encode(ed25519.sign(seed, nonce.encode())),
        allow_reconnect=False,
    )
    jetstream = client.jetstream()
    count = (await jetstream.stream_info(stream)).state.messages
    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
    subscription = await jetstream.pull_subscribe("", stream=stream, config=config)
    while count > 0:
        for message in await subscription.fetch(min(count, 100), timeout=10):
            count -= 1
            print(
                json.dumps(
                    {
                        "sequence": message.metadata.sequence.stream,
                        "subject": message.subject,
                        "headers": message.headers,
                        "sha256": hashlib.sha256(message.data).hexdigest(),
                    }
                )
            )
            await message.ack()
    await client.close()


asyncio.run(main(*sys.argv[1:]))
