"""Signs and verifies with PyPI's `standardwebhooks`: JSON in, JSON out.

The order has `secret` and, to sign, `id`, `timestamp` (seconds) and `body`; to verify, `headers` and `body`.
"""

import datetime
import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

order = json.load(sys.stdin)
webhook = Webhook(order["secret"])
if "headers" in order:
    try:
        webhook.verify(order["body"], order["headers"])
        json.dump({"verified": True}, sys.stdout)
    except WebhookVerificationError as error:
        json.dump({"verified": False, "why": str(error)}, sys.stdout)
else:
    at = datetime.datetime.fromtimestamp(order["timestamp"], tz=datetime.timezone.utc)
    json.dump({"signature": webhook.sign(order["id"], at, order["body"])}, sys.stdout)
