# Reads one JSON object a line, {"secret", "headers", "body"}; prints for each whether the published library takes it.
import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

for line in sys.stdin:
    sent = json.loads(line)
    try:
        Webhook(sent["secret"]).verify(sent["body"], sent["headers"])
        print("good")
    except WebhookVerificationError:
        print("bad")
