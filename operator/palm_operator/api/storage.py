"""Where a Portfolio's artefacts and results are."""

from pydantic import ConfigDict, Field

from palm.contract import Model
from palm_operator.api.rules import rule, rules
from palm_operator.api.types import ObjectName


class SecretReference(Model):
    """A Secret of the Portfolio's namespace."""

    name: ObjectName


class S3(Model):
    """An S3 location; bucket and prefix are immutable, as what a Portfolio has is found there."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *(
                rule(
                    f"self.{field} == oldSelf.{field}",
                    says=f"'\"' + self.{field} + '\" was \"' + oldSelf.{field} + '\" and is "
                    "immutable: policies, results and records are found there; "
                    "make another Portfolio for another place'",
                    field=f".{field}",
                )
                for field in ("bucket", "prefix")
            )
        )
    )

    bucket: str = Field(
        min_length=3,
        max_length=63,
        pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$",
        json_schema_extra=rules(rule("!self.contains('..')", 'must not contain ".."')),
    )
    prefix: str = Field(
        default="portfolios",
        max_length=512,
        pattern=r"^[A-Za-z0-9._/=-]*$",
        json_schema_extra=rules(
            rule("!self.contains('..')", 'must not contain "..": S3 keys have no parent folders'),
            rule(
                "!self.startsWith('/') && !self.endsWith('/') && !self.contains('//')",
                'must not start or end with "/" nor contain "//"',
            ),
        ),
    )
    """Portfolios that share a prefix share policies."""
    endpoint: str = Field(
        default="",
        max_length=512,
        pattern=r"^(https?://[^/\s?#]+)?$",
        json_schema_extra=rules(
            rule(
                "!self.contains('@')",
                "must not contain credentials; name a Secret in credentialsSecret",
            ),
            rule(
                "self == '' || self.contains('@') || "
                "(isURL(self) && url(self).getHostname() != '')",
                "must be http:// or https:// with a host and perhaps a port",
            ),
        ),
    )
    """Empty: AWS. Others must be allowed by the operator's settings."""
    region: str = Field(default="", max_length=64, pattern=r"^[a-z0-9-]*$")
    credentials_secret: SecretReference | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the Jobs; omitted: their
    ServiceAccount's identity."""


class Storage(Model):
    """Where every artefact and result lives."""

    s3: S3
