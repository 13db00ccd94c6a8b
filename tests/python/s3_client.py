"""What boto3 does with an S3 server: s3_client.py ENDPOINT BUCKET. Prints each thing that worked."""

import hashlib
import sys
import tempfile

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.client import Config
from botocore.exceptions import ClientError

endpoint, bucket = sys.argv[1:]
config = Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1})
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="auto", config=config)
done = []


def refused(code, call, **arguments):
    try:
        call(Bucket=bucket, **arguments)
    except ClientError as error:
        assert error.response["Error"]["Code"] == code, error
    else:
        raise AssertionError(f"{code} was expected")


# The default of today's boto3: a CRC-32 with everything.
s3.put_object(Bucket=bucket, Key="a", Body=b"one", Metadata={"m": "1"}, ContentType="text/plain")
done.append("put")
assert s3.get_object(Bucket=bucket, Key="a")["Body"].read() == b"one"
refused("NoSuchKey", s3.get_object, Key="none")
done.append("get")
head = s3.head_object(Bucket=bucket, Key="a")
assert (head["Metadata"], head["ContentType"], head["ContentLength"]) == ({"m": "1"}, "text/plain", 3)
done.append("head")
for number in range(25):
    s3.put_object(Bucket=bucket, Key=f"list/{number:02}/é", Body=b"")
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="list/", PaginationConfig={"PageSize": 7})
assert [entry["Key"] for page in pages for entry in page["Contents"]] == [f"list/{n:02}/é" for n in range(25)]
pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Delimiter="/")
assert [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])] == ["list/"]
done.append("list")
s3.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "list/03/é"})
assert s3.head_object(Bucket=bucket, Key="b")["ContentLength"] == 0
done.append("copy")
refused("PreconditionFailed", s3.put_object, Key="a", Body=b"two", IfNoneMatch="*")
s3.put_object(Bucket=bucket, Key="a", Body=b"two", IfMatch=head["ETag"])
refused("PreconditionFailed", s3.put_object, Key="a", Body=b"three", IfMatch=head["ETag"])
done.append("condition")
key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"k" * 32}
s3.put_object(Bucket=bucket, Key="c", Body=b"secret", **key)
assert s3.get_object(Bucket=bucket, Key="c", **key)["Body"].read() == b"secret"
refused("InvalidRequest", s3.get_object, Key="c")
done.append("customer-key")
with tempfile.NamedTemporaryFile() as file:
    for number in range(12 * 1024):
        file.write(hashlib.sha256(b"%d" % number).digest() * 32)
    file.flush()
    size = 5 * 1024 * 1024
    transfer = TransferConfig(multipart_threshold=size, multipart_chunksize=size, max_concurrency=3)
    for arguments in ({}, key):
        s3.upload_file(file.name, bucket, "large", Config=transfer, ExtraArgs=arguments)
        with tempfile.NamedTemporaryFile() as back:
            s3.download_file(bucket, "large", back.name, Config=transfer, ExtraArgs=arguments)
            with open(file.name, "rb") as sent, open(back.name, "rb") as received:
                assert sent.read() == received.read()
done.append("multipart")
answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "a"}, {"Key": "none"}]})
assert len(answer["Deleted"]) == 2 and "Errors" not in answer, answer
refused("NoSuchKey", s3.get_object, Key="a")
done.append("delete")
print(*done)
