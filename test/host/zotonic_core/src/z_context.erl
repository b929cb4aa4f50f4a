%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_context).

-export([new/1, site/1, tz_config/1, logger_md/1, abs_url/2, ensure_qs/1, get_q/2, get_q_validated/2, output/2]).
-export([set/3, get/2]).
-export([set_nocache_headers/1, set_noindex_header/1]).

-include("../include/zotonic.hrl").

-spec new(z:context()) -> z:context().
new(Context) ->
    Context.

-spec site(z:context()) -> atom().
site(#context{site = Site}) ->
    Site.

-spec tz_config(z:context()) -> binary() | string() | undefined.
tz_config(_Context) ->
    host:get(timezone, <<"UTC">>).

-spec logger_md(z:context()) -> ok.
logger_md(_Context) ->
    ok.

-spec abs_url(iodata(), z:context()) -> binary().
abs_url(Url, _Context) ->
    iolist_to_binary(["https://site.test", Url]).

-spec ensure_qs(z:context()) -> z:context().
ensure_qs(Context) ->
    Context.

-spec set(term(), term(), z:context()) -> z:context().
set(Key, Value, #context{kept = Kept} = Context) ->
    Context#context{kept = Kept#{Key => Value}}.

-spec get(term(), z:context()) -> term().
get(Key, #context{kept = Kept}) ->
    maps:get(Key, Kept, undefined).

-spec get_q(binary(), z:context()) -> term().
get_q(Key, #context{q = Query}) ->
    proplists:get_value(Key, Query).

-spec get_q_validated(binary(), z:context()) -> term().
get_q_validated(Key, Context) ->
    get_q(Key, Context).

-spec output(iodata(), z:context()) -> {iodata(), z:context()}.
output(Html, Context) ->
    {Html, Context}.

-spec set_nocache_headers(z:context()) -> z:context().
set_nocache_headers(Context) ->
    Context.

-spec set_noindex_header(z:context()) -> z:context().
set_noindex_header(Context) ->
    Context.
