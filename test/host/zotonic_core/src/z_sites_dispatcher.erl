%% @doc A stand-in for the module of the same name in Zotonic.
-module(z_sites_dispatcher).

-export([get_site_for_url/1]).

-spec get_site_for_url(binary()) -> {ok, atom()} | undefined.
get_site_for_url(<<"https://testsite.test/", _/binary>>) -> {ok, testsite};
get_site_for_url(_Url) -> undefined.
