"""The names of botocore and aiobotocore that the plugin relies upon, and that a release may rename.

They are apart from the other modules for the weight of imports: the declaration reads them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["RELIED_UPON"]

RELIED_UPON: Final = {
    "botocore.credentials": (
        "botocore.credentials:CredentialResolver.load_credentials",
        "botocore.credentials:CredentialResolver.providers",
        "botocore.credentials:Credentials(method)",
        "botocore.credentials:RefreshableCredentials._protected_refresh",
    ),
    "botocore.signers": (
        "botocore.signers:RequestSigner.get_auth_instance(request_credentials)",
        "botocore.signers:RequestSigner._credentials",
    ),
    "aiobotocore.credentials": (
        "aiobotocore.credentials:AioCredentialResolver.load_credentials",
        "aiobotocore.credentials:AioCredentials(method)",
        "aiobotocore.credentials:AioRefreshableCredentials._protected_refresh",
    ),
    "aiobotocore.signers": ("aiobotocore.signers:AioRequestSigner.get_auth_instance(request_credentials)",),
}
"""By module: names that the plugin cannot do without."""
