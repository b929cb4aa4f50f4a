%% @doc Downloads of backups: `controller_file', for the files that it may give to those who may have them. Of
%% others it is not even asked whether they are there, so that nobody learns which there are.
-module(controller_backup_download).

-export([
    service_available/1,
    allowed_methods/1,
    resource_exists/1,
    forbidden/1,
    last_modified/1,
    expires/1,
    content_types_provided/1,
    charsets_provided/1,
    content_encodings_provided/1,
    process/4
]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% What no backup is called.
-define(NO_BACKUP, <<"-">>).

-spec service_available(z:context()) -> {boolean(), z:context()}.
service_available(Context) ->
    WithQuery = z_context:ensure_qs(Context),
    Name = z_context:get_q(<<"*">>, WithQuery),
    IsThere = backup_files:is_allowed(WithQuery) andalso backup_files:find(Name, WithQuery) =/= false,
    Path = case IsThere of
        true -> Name;
        false -> ?NO_BACKUP
    end,
    controller_file:service_available(z_context:set(path, Path, WithQuery)).

-spec allowed_methods(z:context()) -> {[binary()], z:context()}.
allowed_methods(Context) ->
    controller_file:allowed_methods(Context).

-spec resource_exists(z:context()) -> {boolean(), z:context()}.
resource_exists(Context) ->
    controller_file:resource_exists(Context).

-spec forbidden(z:context()) -> {boolean(), z:context()}.
forbidden(Context) ->
    case backup_files:is_allowed(Context) of
        true -> controller_file:forbidden(Context);
        false -> {backup_files:is_forbidden(undefined, Context), Context}
    end.

-spec last_modified(z:context()) -> {calendar:datetime(), z:context()}.
last_modified(Context) ->
    controller_file:last_modified(Context).

-spec expires(z:context()) -> {calendar:datetime(), z:context()}.
expires(Context) ->
    controller_file:expires(Context).

-spec content_types_provided(z:context()) -> {list(), z:context()}.
content_types_provided(Context) ->
    controller_file:content_types_provided(Context).

-spec charsets_provided(z:context()) -> {[binary()] | no_charset, z:context()}.
charsets_provided(Context) ->
    controller_file:charsets_provided(Context).

-spec content_encodings_provided(z:context()) -> {[binary()], z:context()}.
content_encodings_provided(Context) ->
    controller_file:content_encodings_provided(Context).

-spec process(binary(), term(), term(), z:context()) -> {term(), z:context()}.
process(Method, AcceptedCT, ProvidedCT, Context) ->
    controller_file:process(Method, AcceptedCT, ProvidedCT, Context).
