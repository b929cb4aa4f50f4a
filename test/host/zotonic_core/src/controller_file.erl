%% @doc A stand-in for the module of the same name in Zotonic, as far as what becomes of a request is asked
%% here. A test says which module has the files.
-module(controller_file).

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

%% The configured path is looked up in the root of a module.
-spec service_available(z:context()) -> {boolean(), z:context()}.
service_available(Context) ->
    Module = host:get(root, undefined),
    {true, z_context:set(?MODULE, Module:file_exists(z_context:get(path, Context), Context), Context)}.

-spec allowed_methods(z:context()) -> {[binary()], z:context()}.
allowed_methods(Context) ->
    {[<<"HEAD">>, <<"GET">>], Context}.

-spec resource_exists(z:context()) -> {boolean(), z:context()}.
resource_exists(Context) ->
    {z_context:get(?MODULE, Context) =/= false, Context}.

%% What was not found is forbidden to nobody.
-spec forbidden(z:context()) -> {boolean(), z:context()}.
forbidden(Context) ->
    Module = host:get(root, undefined),
    IsFound = z_context:get(?MODULE, Context) =/= false,
    {IsFound andalso Module:file_forbidden(z_context:get(path, Context), Context), Context}.

-spec last_modified(z:context()) -> {calendar:datetime(), z:context()}.
last_modified(Context) ->
    {{{2026, 11, 24}, {3, 0, 0}}, Context}.

-spec expires(z:context()) -> {calendar:datetime(), z:context()}.
expires(Context) ->
    {{{2026, 11, 24}, {3, 0, 0}}, Context}.

-spec content_types_provided(z:context()) -> {list(), z:context()}.
content_types_provided(Context) ->
    {[<<"application/gzip">>], Context}.

-spec charsets_provided(z:context()) -> {[binary()] | no_charset, z:context()}.
charsets_provided(Context) ->
    {no_charset, Context}.

-spec content_encodings_provided(z:context()) -> {[binary()], z:context()}.
content_encodings_provided(Context) ->
    {[<<"identity">>], Context}.

-spec process(binary(), term(), term(), z:context()) -> {term(), z:context()}.
process(_Method, _AcceptedCT, _ProvidedCT, Context) ->
    {z_context:get(?MODULE, Context), Context}.
