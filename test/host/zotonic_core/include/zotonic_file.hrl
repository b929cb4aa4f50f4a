%% A stand-in for the file of the same name in Zotonic, with its records as they are there.
-record(filestore_credentials_lookup, {id, path}).
-record(filestore_credentials, {service, service_url, location, credentials}).
-record(filestore_request, {action = upload, remote, local, mime, handler_pid}).
